"""The embedded broker, and ready-made configuration for it and for Mosquitto."""
