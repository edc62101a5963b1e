/** Where programs are known to look beneath the home folder, and the setting that sends them elsewhere. */

export interface Habit {
  /** Matched against the path beneath the home folder. */
  readonly home: RegExp
  readonly cause: string
  readonly remedy: string
}

/** The first that fits counts: the special ones stand before the general ones. */
export const habits: readonly Habit[] = [
  {
    home: /^\.local\/lib\/python[\d.]+(\/|$)/,
    cause: 'Python looks for packages of the user (~/.local/lib/pythonX.Y)',
    remedy: 'PYTHONNOUSERSITE=1; conda-deploy run --spare user-site',
  },
  {
    home: /^\.(jupyter|local\/etc\/jupyter|local\/share\/jupyter)(\/|$)|^\.local\/etc(\/|$)/,
    cause: 'Jupyter reads its settings and kernels (~/.jupyter, ~/.local/share/jupyter)',
    remedy:
      'JUPYTER_CONFIG_DIR, JUPYTER_DATA_DIR and JUPYTER_RUNTIME_DIR on local disk; conda-deploy run --spare caches',
  },
  {
    home: /^\.ipython(\/|$)/,
    cause: 'IPython reads its profile and writes its history (~/.ipython)',
    remedy: 'IPYTHONDIR on local disk; conda-deploy run --spare caches',
  },
  {
    home: /^\.(config|cache)\/matplotlib(\/|$)|^\.matplotlib(\/|$)/,
    cause: 'matplotlib keeps its settings and its font cache (~/.config/matplotlib, ~/.cache/matplotlib)',
    remedy: 'MPLCONFIGDIR on local disk; conda-deploy run --spare caches',
  },
  {
    home: /^\.numba|numba_cache/,
    cause: 'numba keeps compiled functions',
    remedy: 'NUMBA_CACHE_DIR on local disk; conda-deploy run --spare caches',
  },
  {
    home: /^\.cache\/huggingface(\/|$)/,
    cause: 'Hugging Face libraries keep models and tokens (~/.cache/huggingface)',
    remedy: 'HF_HOME on local disk',
  },
  {
    home: /^\.cache\/torch(\/|$)/,
    cause: 'PyTorch keeps models and kernels (~/.cache/torch)',
    remedy: 'TORCH_HOME on local disk',
  },
  {
    home: /^\.triton(\/|$)/,
    cause: 'Triton keeps compiled kernels (~/.triton)',
    remedy: 'TRITON_CACHE_DIR on local disk',
  },
  {
    home: /^\.nv(\/|$)/,
    cause: 'the CUDA driver keeps compiled kernels (~/.nv)',
    remedy: 'CUDA_CACHE_PATH on local disk',
  },
  { home: /^\.keras(\/|$)/, cause: 'Keras reads its settings (~/.keras)', remedy: 'KERAS_HOME on local disk' },
  {
    home: /^\.(config\/)?dask|^\.config\/dask(\/|$)/,
    cause: 'Dask reads its settings (~/.config/dask)',
    remedy: 'DASK_CONFIG on local disk',
  },
  {
    home: /^\.python_history$/,
    cause: 'interactive Python reads and writes its history',
    remedy: 'PYTHON_HISTORY on local disk (Python 3.13), or python -I',
  },
  {
    home: /^\.(terminfo|terminfo\/.*|terminfo\.db)$/,
    cause: 'ncurses looks for terminals of the user (~/.terminfo)',
    remedy: 'TERMINFO in the environment; conda-deploy run --spare terminfo',
  },
  { home: /^\.(inputrc|editrc)$/, cause: 'readline reads the key bindings of the user', remedy: 'INPUTRC=/dev/null' },
  {
    home: /^\.(bashrc|bash_profile|bash_login|bash_history|bash_logout|profile|zshrc|zshenv|zprofile|cshrc|tcshrc|login|kshrc)$|^\.config\/fish(\/|$)/,
    cause: 'a shell reads its start files',
    remedy: 'start it without them (bash --norc, zsh -f), or not as a login shell',
  },
  {
    home: /^\.(condarc|conda|mambarc|mamba|config\/conda)(\/|$)/,
    cause: 'conda or mamba reads its settings and its list of environments',
    remedy: 'do not call conda in the job: the environment is active already',
  },
  {
    home: /^\.(pip|config\/pip|cache\/pip|netrc|pypirc|pydistutils\.cfg)(\/|$)/,
    cause: 'pip or a network library reads its settings',
    remedy: 'PIP_CONFIG_FILE=/dev/null, NETRC on local disk',
  },
  {
    home: /^\.(gitconfig|config\/git|git-credentials)(\/|$)/,
    cause: 'git reads the settings of the user',
    remedy: 'GIT_CONFIG_GLOBAL=/dev/null',
  },
  {
    home: /^\.(Rprofile|Renviron|R)(\/|$)|^R(\/|$)/,
    cause: 'R reads the settings and packages of the user',
    remedy: 'R_PROFILE_USER, R_ENVIRON_USER and R_LIBS_USER, or R --vanilla',
  },
  { home: /^\.julia(\/|$)/, cause: 'Julia reads its depot (~/.julia)', remedy: 'JULIA_DEPOT_PATH on local disk' },
  {
    home: /^\.(fontconfig|fonts|local\/share\/fonts|cache\/fontconfig|config\/fontconfig)(\/|$)/,
    cause: 'fontconfig looks for fonts of the user',
    remedy: 'XDG_CACHE_HOME, XDG_DATA_HOME and FONTCONFIG_FILE on local disk',
  },
  {
    home: /^\.(cache)(\/|$)/,
    cause: 'a program keeps a cache (~/.cache)',
    remedy: 'XDG_CACHE_HOME on local disk; conda-deploy run --spare caches',
  },
  {
    home: /^\.(config)(\/|$)/,
    cause: 'a program reads its settings (~/.config)',
    remedy: 'XDG_CONFIG_HOME on local disk',
  },
]
