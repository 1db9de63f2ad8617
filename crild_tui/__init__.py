"""What a person touches: the command line and the dashboard. They read run directories and start engine processes."""
