package broker

// GatewaysApp is the id of a log that every backend opens by itself, beside those of the
// apps that it was given: the gateways tell each other there what all of them must do. Its
// channels are the ids of apps. No app may have the id, and nothing that a client, the
// HTTP API or a publisher of the log may write reaches it.
const GatewaysApp = "#gateways"

// ReservedApp says whether no app may have an id, because it is kept for such logs.
func ReservedApp(id string) bool { return id != "" && id[0] == '#' }
