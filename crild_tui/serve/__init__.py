"""The dashboard in a browser: `crild serve`."""
