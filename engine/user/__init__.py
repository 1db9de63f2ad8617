"""What belongs to the person and not to a preset or run: settings.toml with consent, notification, dashboard. Light."""
