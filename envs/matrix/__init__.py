"""Normal-form games: classics, random families, structured games of many players, and games in files."""
