package broker

// GatewaysApp is the id of a log that every backend opens in addition to those of its apps. The
// gateways use it to tell each other what all of them must do. Its channels are the ids of apps. No
// app may have this id, and no client, HTTP request or direct publisher of the log can write to it.
const GatewaysApp = "#gateways"

// ReservedApp reports whether an id begins with #, which no app's id may, because such ids are kept for
// internal logs.
func ReservedApp(id string) bool { return id != "" && id[0] == '#' }
