"""What each host must hold: `full` is the specification, `incremental` equals it change by change. Pure."""
