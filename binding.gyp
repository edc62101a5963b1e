# The addon by node-gyp, for consumers without CMake. CMakeLists.txt is the build of a checkout; both glob native/.
{
  'targets': [
    {
      'target_name': 'conda_deploy',
      'sources': [
        '<!@(node -p "[\'native\',\'native/core\',\'native/trace\'].flatMap(d=>require(\'fs\').existsSync(d)?require(\'fs\').readdirSync(d).filter(f=>f.endsWith(\'.cc\')).sort().map(f=>d+\'/\'+f):[]).join(\' \')")',
      ],
      'include_dirs': ['native/core', 'native/trace', '<!(node -p "require(\'node-addon-api\').include_dir")'],
      'dependencies': [
        '<!(node -p "require(\'path\').relative(\'.\',require(\'path\').dirname(require.resolve(\'zstd-napi/package.json\')))")/deps/zstd.gyp:libzstd',
      ],
      'defines': [
        'NAPI_VERSION=8',
        'NODE_ADDON_API_CPP_EXCEPTIONS_ALL',
        'NODE_ADDON_API_DISABLE_DEPRECATED',
        # Throwing while a worker thread shuts down must not abort the process (nodejs/node-addon-api#975).
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
        'ZSTDLIB_VISIBLE=',
        'ZSTDERRORLIB_VISIBLE=',
      ],
      'cflags+': ['-fvisibility=hidden', '-O2'],
      'cflags_cc+': ['-std=c++17', '-fvisibility-inlines-hidden'],
      'cflags!': ['-fno-exceptions', '-O3'],
      'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20', '-std=gnu++14'],
      'ldflags': ['-Wl,--exclude-libs,ALL', '-Wl,-z,relro', '-Wl,-z,now', '-Wl,-z,noexecstack', '-Wl,--as-needed', '-pthread'],
      'conditions': [
        ['OS=="mac"', {
          'xcode_settings': {
            'CLANG_CXX_LANGUAGE_STANDARD': 'c++17',
            'CLANG_CXX_LIBRARY': 'libc++',
            'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
            'GCC_ENABLE_CPP_RTTI': 'YES',
            'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
          },
        }],
      ],
    },
  ],
}
