# Activates the environment that this file belongs to:    source bin/activate.csh       and back:  deactivate
# For tcsh and csh. The environment is where this file is; a shell that does not tell where (Linux's /proc does) needs
#     setenv CONDA_DEPLOY_PREFIX /path/of/env ; source /path/of/env/bin/activate.csh
# What csh cannot do safely is done by sh and by activate.awk, which print what to set. Code and values reach them by the
# environment, because csh would expand them. What every variable was is kept in __CONDA_SHLVL_<level>_<NAME>.

# The shell holds the file open that it reads; the one opened last is this one.
set __conda_deploy_here = "`\ls -l /proc/$$/fd | sed -n 's,.* -> \(/.*\)/bin/activate[.]csh,\1,p' | tail -n 1`"
if ( "$__conda_deploy_here:q" == "" ) then
  if ( $?CONDA_DEPLOY_PREFIX ) set __conda_deploy_here = "$CONDA_DEPLOY_PREFIX:q"
endif
if ( ! -f "$__conda_deploy_here:q/bin/activate.csh" ) then
  sh -c 'echo "activate: this shell does not tell where bin/activate.csh is; say: setenv CONDA_DEPLOY_PREFIX /path/of/env" >&2'
  unset __conda_deploy_here
  exit 1
endif
if ( "$__conda_deploy_here:q" =~ *:* ) then
  sh -c 'echo "activate: the path of this environment cannot stand in PATH, because it has a colon" >&2'
  unset __conda_deploy_here
  exit 1
endif

# Active already: begin anew, so that one deactivate suffices.
if ( $?CONDA_PREFIX ) then
  if ( "$CONDA_PREFIX:q" == "$__conda_deploy_here:q" ) then
    set __conda_deploy_again = "$__conda_deploy_here:q"
    source "$__conda_deploy_here:q/bin/deactivate.csh"
    set __conda_deploy_here = "$__conda_deploy_again:q"
    unset __conda_deploy_again
  endif
endif

set __conda_deploy_newline = '\
'
setenv CONDA_DEPLOY_PREFIX "$__conda_deploy_here:q"
setenv CONDA_DEPLOY_CODE 'export LC_ALL=C; cd "$CONDA_DEPLOY_PREFIX" && for f in etc/conda/env_vars.d/*.json conda-meta/state; do if [ -f "$f" ]; then set -- "$@" "$PWD/$f"; fi; done; exec awk -v shell=csh -f bin/activate.awk "$@" </dev/null'
eval "`printenv CONDA_DEPLOY_CODE | sh`"
setenv PATH "$CONDA_PREFIX:q/bin:$PATH:q"
rehash
alias deactivate 'source "$CONDA_PREFIX:q/bin/deactivate.csh"'
if ( $?prompt ) then
  set __conda_deploy_prompt_$CONDA_SHLVL = "$prompt:q"
  set prompt = "$CONDA_PROMPT_MODIFIER:q$prompt:q"
endif

setenv CONDA_DEPLOY_CODE 'export LC_ALL=C; for f in "$CONDA_DEPLOY_PREFIX"/etc/conda/activate.d/*.csh; do if [ -f "$f" ]; then printf "%s\n" "$f"; fi; done'
foreach __conda_deploy_file ( "`printenv CONDA_DEPLOY_CODE | sh`" )
  if ( "$__conda_deploy_file:q" != "" ) source "$__conda_deploy_file:q"
end
unsetenv CONDA_DEPLOY_CODE CONDA_DEPLOY_PREFIX
unset __conda_deploy_here __conda_deploy_newline __conda_deploy_file
