# Undoes the last activation:     source bin/deactivate.fish     The same as the function `deactivate`, for shells that inherited an
# active environment but not the function.
if not test -f "$CONDA_PREFIX/bin/activate.fish"
    echo 'deactivate: no environment is active' >&2
else
    set -g CONDA_DEPLOY_DEFINE 1
    source $CONDA_PREFIX/bin/activate.fish
    deactivate
end
