// Command program is a NATS server for tests, see [natsd.Serve].
package main

import (
	"fmt"
	"os"

	"github.com/sluicehq/sluice/test/natsd"
)

func main() {
	if err := natsd.Serve(os.Getenv(natsd.Env), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "natsd:", err)
		os.Exit(1)
	}
}
