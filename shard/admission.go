package shard

import (
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	"pegasus/consensus"
	"pegasus/engine"
	"pegasus/netcore/proto"
)

// denial is the app env replica.deny_client_request: which requests are refused, and whether by silence.
type denial struct {
	reads, writes bool
	silent        bool // no reply at all, the client times out; otherwise ERR_INVALID_STATE
}

// tableSettings are the app envs that the request path looks at, parsed once per change. Meta validated them; a value that
// still does not parse counts as unset.
type tableSettings struct {
	deny         denial
	defaultTTL   uint32
	validateHash bool
	slowAfter    time.Duration // 0 = that of the node
}

func parseSettings(envs map[string]string) tableSettings {
	var t tableSettings
	if n, err := strconv.ParseInt(strings.TrimSpace(envs["default_ttl"]), 0, 32); err == nil && n > 0 {
		t.defaultTTL = uint32(n)
	}
	if n, err := strconv.ParseInt(strings.TrimSpace(envs["replica.slow_query_threshold"]), 0, 64); err == nil && n > 0 {
		t.slowAfter = time.Duration(min(n, int64(math.MaxInt64/time.Millisecond))) * time.Millisecond
	}
	t.validateHash = strings.EqualFold(envs["replica.split.validate_partition_hash"], "true")
	if how, which, ok := strings.Cut(envs["replica.deny_client_request"], "*"); ok {
		t.deny.silent = how == "timeout"
		t.deny.reads = which == "all" || which == "read"
		t.deny.writes = which == "all" || which == "write"
	}
	return t
}

// configureTable takes over a table's description. It is idempotent.
func (p *partition) configureTable(app *proto.AppInfo) {
	p.described = time.Now().UnixMilli()
	if p.app.Envs != nil && maps.Equal(p.app.Envs, app.Envs) && p.app.PartitionCount == app.PartitionCount &&
		p.app.AtomicIdempotent == app.AtomicIdempotent && p.app.MaxReplicaCount == app.MaxReplicaCount {
		p.app = *app
		p.setMembers()
		return
	}
	p.app = *app
	p.settings = parseSettings(app.Envs)
	p.setSlowAfter()
	p.env.DefaultTTL = p.settings.defaultTTL
	p.env.AtomicIdempotent = app.AtomicIdempotent != nil && *app.AtomicIdempotent
	p.env.PartitionVersion = p.tableOptions().PartitionVersion
	if p.store != nil {
		p.store.SetTableOptions(p.tableOptions())
	}
	p.setMembers()
}

// setMembers tells the replica how many members the table wants and how many a write needs.
func (p *partition) setMembers() {
	if p.replica == nil {
		return
	}
	want := int(p.app.MaxReplicaCount)
	p.replica.SetMembers(want, consensus.MinMembers(want, int(p.shard.tables[p.gpid.App].MinReplicas)))
}

func (p *partition) tableOptions() engine.TableOptions {
	return p.settings.tableOptions(p.gpid, p.app.PartitionCount)
}

// tableOptions are what the store must know of the table.
func (t *tableSettings) tableOptions(g proto.GPID, partitions int32) engine.TableOptions {
	o := engine.TableOptions{DefaultTTL: t.defaultTTL, PartitionVersion: -1, PartitionIndex: g.Part}
	if t.validateHash {
		o.PartitionVersion = partitions - 1
	}
	return o
}

// verdict is the outcome of admission.
type verdict struct {
	err    proto.ErrCode // ErrOK = go on
	silent bool          // refused without a reply
}

// admitRead makes the checks of a read in the order of spec rrdb 6.
func (p *partition) admitRead(req *proto.Request) verdict {
	if p.settings.deny.reads {
		return verdict{err: proto.ErrInvalidState, silent: p.settings.deny.silent}
	}
	if v := p.checkHash(req); v != proto.ErrOK {
		return verdict{err: v}
	}
	if !p.mayRead(req.Backup) {
		return verdict{err: proto.ErrInvalidState}
	}
	return verdict{}
}

// admitWrite makes the checks of a write in the order of spec rrdb 6.
func (p *partition) admitWrite(req *proto.Request) verdict {
	if p.settings.deny.writes {
		return verdict{err: proto.ErrInvalidState, silent: p.settings.deny.silent}
	}
	if limit := p.shard.opts.Limits.MaxWrite; limit > 0 && bodyLen(req) > limit {
		return verdict{err: proto.ErrInvalidData}
	}
	if v := p.checkHash(req); v != proto.ErrOK {
		return verdict{err: v}
	}
	if !p.mayWrite() {
		return verdict{err: proto.ErrInvalidState}
	}
	if p.lacksSpace() {
		return verdict{err: proto.ErrDiskInsufficient}
	}
	return verdict{}
}

// bodyLen is the length of a request's body as the limit on writes counts it: with the message begin of a thrift frame.
func bodyLen(req *proto.Request) int {
	if req.Framing == proto.FramingRDSN {
		return len(req.Args)
	}
	const messageBegin = 4 + 4 + 4 // version and type, length of the name, seqid
	return messageBegin + len(req.Name) + len(req.Args)
}

// checkHash makes sure, when the table asks for it, that the client and the replica agree on the partition of the key.
func (p *partition) checkHash(req *proto.Request) proto.ErrCode {
	if !p.settings.validateHash {
		return proto.ErrOK
	}
	version := p.env.PartitionVersion
	if version == -1 {
		return proto.ErrSplitting
	}
	if int64(req.Hash&uint64(version)) != int64(p.gpid.Part) {
		return proto.ErrParentPartitionMisused
	}
	return proto.ErrOK
}
