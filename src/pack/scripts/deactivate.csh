# Undoes the last activation:     source bin/deactivate.csh     The alias `deactivate` does this.

set __conda_deploy_active = 0
if ( $?CONDA_PREFIX && $?CONDA_SHLVL ) then
  set __conda_deploy_active = "`printenv CONDA_DEPLOY_SET_$CONDA_SHLVL:q | wc -l`"
endif
if ( $__conda_deploy_active == 0 ) then
  sh -c 'echo "deactivate: no environment is active that bin/activate activated" >&2'
else
  setenv CONDA_DEPLOY_CODE 'export LC_ALL=C; for f in "$CONDA_PREFIX"/etc/conda/deactivate.d/*.csh; do if [ -f "$f" ]; then printf "%s\n" "$f"; fi; done | sort -r'
  foreach __conda_deploy_file ( "`printenv CONDA_DEPLOY_CODE | sh`" )
    if ( "$__conda_deploy_file:q" != "" ) source "$__conda_deploy_file:q"
  end
  if ( $?prompt ) then
    eval 'if ( $?__conda_deploy_prompt_'$CONDA_SHLVL:q' ) set prompt = "$__conda_deploy_prompt_'$CONDA_SHLVL:q':q"'
    unset __conda_deploy_prompt_$CONDA_SHLVL
  endif
  set __conda_deploy_newline = '\
'
  setenv CONDA_DEPLOY_CODE 'LC_ALL=C exec awk -v shell=csh -v undo=1 -f "$CONDA_PREFIX/bin/activate.awk" </dev/null'
  eval "`printenv CONDA_DEPLOY_CODE | sh`"
  unsetenv CONDA_DEPLOY_CODE
  rehash
  if ( ! $?CONDA_PREFIX ) unalias deactivate
  unset __conda_deploy_newline __conda_deploy_file
endif
unset __conda_deploy_active
