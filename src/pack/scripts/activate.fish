# Activates the environment that this file belongs to:    source bin/activate.fish       and back:  deactivate
# For fish 3. What every variable was is kept in __CONDA_SHLVL_<level>_<NAME>; CONDA_DEPLOY_SET_<level> lists the names.

# Sets and exports variable $argv[1] to $argv[2]; what was there comes back at deactivation.
function __conda_deploy_set
    if set -q $argv[1]
        set -gx __CONDA_SHLVL_"$__conda_deploy_level"_$argv[1] "$$argv[1]"
    end
    set -gx $argv[1] $argv[2]
    set -ga __conda_deploy_names $argv[1]
end

# The files of folder $argv[1] with extension $argv[2] in conda's order (bytes ascending); $argv[3] goes to sort.
function __conda_deploy_list
    set -l files $argv[1]/*.$argv[2]
    test (count $files) -gt 0; and string join \n -- $files | LC_ALL=C sort $argv[3]
end

function __conda_deploy_level_now
    string match -qr '^[0-9]+$' -- "$CONDA_SHLVL"; and echo $CONDA_SHLVL; or echo 0
end

function deactivate -d 'Leave the conda environment that was activated last'
    set -l level (__conda_deploy_level_now)
    set -l list CONDA_DEPLOY_SET_$level
    if not set -q $list
        echo 'deactivate: no environment is active that bin/activate activated' >&2
        return 0
    end
    for file in (__conda_deploy_list $CONDA_PREFIX/etc/conda/deactivate.d fish -r)
        source $file
    end
    if set -l at (contains -i -- $CONDA_PREFIX/bin $PATH)
        set -e PATH[$at]
    end
    set -l names (string split -n ' ' -- "$$list")
    set -e $list
    set -e CONDA_STACKED_$level
    for name in $names[-1..1]
        set -l saved __CONDA_SHLVL_(math $level - 1)_$name
        if set -q $saved
            set -gx $name $$saved
            set -e $saved
        else
            set -e $name
        end
    end
    if not set -q CONDA_DEPLOY_SET_(__conda_deploy_level_now); and functions -q __conda_deploy_prompt
        functions -e fish_prompt
        functions -c __conda_deploy_prompt fish_prompt
        functions -e __conda_deploy_prompt
    end
end

# `return` would end the function that sources this file; so all that may not run stands in a branch.
set -g __conda_deploy_here (status --current-filename)
set -g __conda_deploy_here (sh -c 'CDPATH= cd "$(dirname "$1")/.." && pwd' sh $__conda_deploy_here)
if set -q CONDA_DEPLOY_DEFINE
    # `bin/deactivate.fish` wants the functions only.
    set -e CONDA_DEPLOY_DEFINE
else if not test -f "$__conda_deploy_here/bin/activate.fish"
    echo 'activate: this shell does not tell where bin/activate.fish is; source it by its path' >&2
    false
else if string match -q '*:*' -- $__conda_deploy_here
    echo "activate: $__conda_deploy_here cannot stand in PATH, because it has a colon" >&2
    false
else
    # Active already: begin anew, so that one deactivate suffices.
    if test "$CONDA_PREFIX" = $__conda_deploy_here; and set -q CONDA_DEPLOY_SET_(__conda_deploy_level_now)
        deactivate
    end

    set -g __conda_deploy_level (__conda_deploy_level_now)
    set -g __conda_deploy_names

    set -g __conda_deploy_files
    for file in (__conda_deploy_list $__conda_deploy_here/etc/conda/env_vars.d json) $__conda_deploy_here/conda-meta/state
        test -f $file; and set -a __conda_deploy_files $file
    end
    if set -q __conda_deploy_files[1]
        if command -q awk
            LC_ALL=C awk -v shell=fish -f $__conda_deploy_here/bin/activate.awk $__conda_deploy_files | source
        else
            echo "activate: there is no awk to read them: the variables of $__conda_deploy_files are not set" >&2
        end
    end
    if test $__conda_deploy_level -gt 0
        # As conda itself notes an environment that stands on another one.
        test -n "$CONDA_PREFIX"; and __conda_deploy_set CONDA_PREFIX_$__conda_deploy_level $CONDA_PREFIX
        set -gx CONDA_STACKED_(math $__conda_deploy_level + 1) true
    end
    __conda_deploy_set CONDA_PREFIX $__conda_deploy_here
    set -l name (string replace -r '.*/' '' -- $__conda_deploy_here)
    set -l full $__conda_deploy_here
    string match -qr '/envs/[^/]*$' -- $__conda_deploy_here; and set full $name
    # In the cache of a node its folder has a digest for a name; what it was called stands in a file of one line.
    if string match -qr '/conda-deploy-[^/]+/[0-9a-f]{16}(-w)?$' -- $__conda_deploy_here; and test -f $__conda_deploy_here/.conda-deploy/ready
        set -l known (string match -r '"name":"([^"\\\\]+)"' <$__conda_deploy_here/.conda-deploy/ready)
        if set -q known[2]
            set name $known[2]
            set full $name
        end
    end
    __conda_deploy_set CONDA_DEFAULT_ENV $full
    __conda_deploy_set CONDA_PROMPT_MODIFIER "($name) "
    __conda_deploy_set CONDA_SHLVL (math $__conda_deploy_level + 1)
    set -gx CONDA_DEPLOY_SET_$CONDA_SHLVL "$__conda_deploy_names"
    set -gx PATH $CONDA_PREFIX/bin $PATH

    if status is-interactive; and functions -q fish_prompt; and not functions -q __conda_deploy_prompt
        functions -c fish_prompt __conda_deploy_prompt
        function fish_prompt
            set -l last $status
            printf '%s' $CONDA_PROMPT_MODIFIER
            # The wrapped prompt may show the status of the last command.
            sh -c "exit $last"
            __conda_deploy_prompt
        end
    end

    for file in (__conda_deploy_list $CONDA_PREFIX/etc/conda/activate.d fish)
        source $file
    end
    true
end
set -l __conda_deploy_status $status
set -e __conda_deploy_here __conda_deploy_level __conda_deploy_names __conda_deploy_files
test $__conda_deploy_status = 0
