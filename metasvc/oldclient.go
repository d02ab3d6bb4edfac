package metasvc

import "pegasus/netcore/proto"

// Clients made before host_port existed (the Go client of 2018 to 2021, go-ycsb's driver) cannot pass over a field of
// that type: it is announced as a struct but is none, so their thrift library reads on at the wrong place and gives up
// the connection. A header does not tell the version of a client. But those clients never fill in the client_timeout of a
// THFT v0 header, and clients that read host_port fields always do, so a zero there leaves the optional host_port fields out.

// predatesHostPort tells whether the sender of a request must not be answered with host_port fields.
func predatesHostPort(req *proto.Request) bool {
	return req.Framing == proto.FramingTHFT0 && req.TimeoutMS == 0
}

// withoutHostPorts removes the host_port fields from the one answer with such fields that old clients ask for. (Recordings
// have LIST_NODES under a client_timeout of 0, with the fields.)
func withoutHostPorts(body any) {
	r, ok := body.(*proto.QueryCfgResponse)
	if !ok {
		return
	}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		p.HPPrimary, p.HPSecondaries, p.HPLastDrops = proto.HostPort{}, nil, nil
	}
}
