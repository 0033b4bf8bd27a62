// Command sluice is the server and its tools: `serve` runs a gateway, `publish`,
// `subscribe`, `history`, `replay`, `export`, `import` and `demo` talk to one,
// `subject`, `config` and `version` explain.
//
// There is one file per subcommand. Results go to standard output, everything
// else to standard error. The exit status is 0 for success, 1 for a failure and
// 2 for a command line that makes no sense.
package main
