"""What keeps the robot from harm: envelope, rules of the face, smoothing, the supervisor."""
