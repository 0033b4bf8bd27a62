package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/configs/shelf"
)

// letGo is how long gateways have to stop using an app before its log is removed. It is longer than the time
// after which they notice a change by themselves.
const letGo = shelf.Again + 2*time.Second

func newAppRemoveCommand() *cobra.Command {
	var yes string
	var keepLog bool
	cmd := &cobra.Command{
		Use: "remove ID", Short: "Remove an app and what the log has of it",
		Long: `Remove an app of the cluster for good: its connections are closed with 4001, and its log is
deleted, unless --keep-log is given. What that is is said before, and the id must be typed.`,
		Example: `  sluice app remove shop
  sluice app remove shop --yes shop`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := openKeeper(cmd)
			if err != nil {
				return err
			}
			defer in.close()
			id := args[0]
			a, tree, err := in.app(cmd.Context(), id)
			if a == nil {
				return err
			}
			what, err := in.measure(cmd.Context(), id)
			if err != nil {
				return err
			}
			for i := range in.config.Apps {
				// The app of the cluster has no effect then, and the log belongs to the app of the
				// configuration.
				keepLog = keepLog || in.config.Apps[i].ID == id
			}
			in.describe(cmd, id, tree, what, keepLog)
			if err := confirmed(cmd, id, yes); err != nil {
				return err
			}
			return in.remove(cmd, a, what != "" && !keepLog)
		},
	}
	cmd.Flags().StringVar(&yes, "yes", "", "the id of the app once more, in the place of typing it")
	cmd.Flags().BoolVar(&keepLog, "keep-log", false, "leave what the log has of it")
	return cmd
}

// describe prints what is removed.
func (in *keeper) describe(cmd *cobra.Command, id string, tree map[string]any, what string, keepLog bool) {
	out := cmd.ErrOrStderr()
	fmt.Fprintf(out, "The app %s is removed: its keys (%v) count no more, and its connections are closed.\n", id, tree["key"])
	switch {
	case what == "":
		fmt.Fprintln(out, "The log has nothing of it.")
	case keepLog:
		fmt.Fprintf(out, "What stays: %s.\n", what)
	default:
		fmt.Fprintf(out, "What is deleted with it: %s.\n", what)
	}
}

// confirmed requires the id of the app once more.
func confirmed(cmd *cobra.Command, id, yes string) error {
	if yes == "" {
		fmt.Fprint(cmd.ErrOrStderr(), "To remove it for good, type the id of the app: ")
		if yes = typedLine(cmd); yes == "" {
			fmt.Fprintln(cmd.ErrOrStderr()) // nothing has ended the line of the question
		}
	}
	if yes != id {
		return errors.New("that is not the id of the app, and nothing was removed")
	}
	return nil
}

func (in *keeper) remove(cmd *cobra.Command, a *shelf.App, withLog bool) error {
	if err := in.shelf.Remove(cmd.Context(), a); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "the app %s is removed\n", a.ID)
	if !withLog {
		return nil
	}
	// A gateway that still uses the app would create its stream again.
	ctx, cancel := context.WithTimeout(cmd.Context(), letGo)
	defer cancel()
	<-ctx.Done()
	if err := in.removeLog(cmd.Context(), a.ID); err != nil {
		return fmt.Errorf("what the log has of the app stays: %w", err)
	}
	fmt.Fprintln(cmd.OutOrStdout(), "what the log had of it is deleted")
	return nil
}
