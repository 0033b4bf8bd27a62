package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluicehq/sluice/configs"
)

// mayBeBlank are the flags for which an empty value has a meaning: no prefix, and no conflation value.
var mayBeBlank = map[string]bool{"prefix": true, "nats-prefix": true, "metrics-prefix": true, "conflation-key": true}

// refuseBlankFlags refuses a flag with an empty value, as from a script whose variable is not set. Otherwise the
// command would do what it does without the flag: contact another server, or purge all of a channel. Flags that
// set the configuration are exempt.
func refuseBlankFlags(cmd *cobra.Command, _ []string) error {
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if _, setting := f.Annotations[configs.FlagSection]; setting || mayBeBlank[f.Name] || err != nil {
			return
		}
		texts := []string{f.Value.String()}
		if list, is := f.Value.(pflag.SliceValue); is {
			texts = list.GetSlice()
		} else if f.Value.Type() != "string" {
			return
		}
		for _, text := range texts {
			if strings.TrimSpace(text) == "" {
				err = usage("--%s is empty; leave it out if it is not meant", f.Name)
			}
		}
	})
	return err
}
