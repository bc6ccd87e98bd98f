"""What an image is: the meaning of its name, and the facts read from its root."""
