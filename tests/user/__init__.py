"""What belongs to the user: settings.toml, consent, notification."""
