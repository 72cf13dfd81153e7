"""Schedules, one file each. A schedule makes a Plan: an order of updates, cut into batches and lists."""
