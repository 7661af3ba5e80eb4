"""Plans and components → what they are, told to people and to programs."""
