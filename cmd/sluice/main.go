package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal begins an orderly end; a second one is no longer caught and kills the process.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, newRoot(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
