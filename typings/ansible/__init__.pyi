# What the collection uses of Ansible, which brings no types of its own: nothing else is declared,
# so that a new use is a mistake for mypy until somebody has looked up what it takes and gives.
