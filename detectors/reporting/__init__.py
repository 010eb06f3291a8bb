"""What is posted: findings, heartbeats, and where they go."""
