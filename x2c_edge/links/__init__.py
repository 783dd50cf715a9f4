"""Links: how the 30 controls leave for the robot. One file per transport, one codec, one contract."""
