package streams

import (
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// clusterless reports whether a stream is on a server without a cluster. Such a server keeps one copy, whatever the settings
// of the stream say.
func clusterless(info *jetstream.StreamInfo) bool {
	return info.Cluster == nil || info.Cluster.Name == ""
}

// copiesOf returns how many servers have a copy of a stream or are about to get one.
func copiesOf(info *jetstream.StreamInfo) int {
	if clusterless(info) {
		return 1
	}
	return max(1, min(info.Config.Replicas, 1+len(info.Cluster.Replicas)))
}

// fewCopies returns an error if a stream has fewer copies than its settings say.
func fewCopies(info *jetstream.StreamInfo) error {
	switch has := copiesOf(info); {
	case info.Config.Replicas <= has:
		return nil
	case clusterless(info):
		return fmt.Errorf("num_replicas is %d, but there is one copy: the NATS server is not in a cluster", info.Config.Replicas)
	default:
		return fmt.Errorf("num_replicas is %d, but %d servers have a copy", info.Config.Replicas, has)
	}
}

// notReplicated is JetStream's error when a server without a cluster is asked to create a stream with several copies. When a
// stream is edited, the server accepts the setting and keeps one copy.
var notReplicated = &jetstream.APIError{Code: 500, ErrorCode: 10074, Description: "replicas > 1 not supported in non-clustered mode"}
