"""The `etesian` command: `app` joins the commands, one file per part defines them."""
