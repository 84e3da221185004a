"""What a rack is built from: the stack lock, and the artefacts that it pins."""
