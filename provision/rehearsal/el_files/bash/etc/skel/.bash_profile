# Of login shells.

if [ -f ~/.bashrc ]; then
    . ~/.bashrc
fi
