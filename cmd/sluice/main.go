package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end; the second one is not caught any
	// more and kills.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, newRoot(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
