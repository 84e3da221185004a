# When a login shell ends.
