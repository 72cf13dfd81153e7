"""Schedules: each makes a Plan, an order of updates cut into batches and lists."""
