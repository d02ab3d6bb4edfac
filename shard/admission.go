package shard

import (
	"maps"
	"time"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/engine"
	"pegasus/netcore/proto"
	"pegasus/shard/tableenv"
)

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
	p.settings = tableenv.Parse(app.Envs)
	p.setSlowAfter()
	p.throttles = newThrottles(&p.settings, app.PartitionCount)
	p.env.DefaultTTL = p.settings.DefaultTTL
	p.env.Limits.IterationTime = p.shard.opts.Reads.IterationTime
	if p.settings.HasIteration {
		p.env.Limits.IterationTime = p.settings.IterationTime
	}
	p.env.AtomicIdempotent = app.AtomicIdempotent != nil && *app.AtomicIdempotent
	p.env.PartitionVersion = p.tableOptions().PartitionVersion
	if p.store != nil {
		p.store.SetTableOptions(p.tableOptions())
	}
	p.forgetRows()
	if p.store != nil {
		p.tune()
		p.compactIfDue(time.Now())
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
	return tableOptions(&p.settings, p.gpid, p.app.PartitionCount)
}

// tableOptions are what the store must know of the table.
func tableOptions(s *tableenv.Settings, g proto.GPID, partitions int32) engine.TableOptions {
	o := engine.TableOptions{
		DefaultTTL: s.DefaultTTL, PartitionVersion: -1, PartitionIndex: g.Part, Rules: s.Rules, NoFillCache: s.NoBlockCache,
	}
	if s.ValidateHash {
		o.PartitionVersion = partitions - 1
	}
	return o
}

// tune gives the store what the table wants of it, in the background. What changes meanwhile comes after it. A store that is opened
// before the loops run is tuned by the first tick, which also tries again what failed.
func (p *partition) tune() {
	want := p.settings.Tuning
	if want.WriteBufferBytes == 0 {
		want.WriteBufferBytes = p.shard.opts.Store.WriteBufferBytes
	}
	if p.tuning || p.state != replicaOpen || want == p.tuned || p.shard.loop == nil {
		return
	}
	p.tuning = true
	p.refs++
	store := p.store
	p.shard.background(func() message {
		return &storeTuned{partition: p, want: want, err: store.Tune(want)}
	})
}

type storeTuned struct {
	partition *partition
	want      engine.Tuning
	err       error
}

func (m *storeTuned) deliver(sh *Shard) {
	p := m.partition
	p.refs--
	p.tuning = false
	if m.err != nil {
		sh.logger.Error("store does not take the table's settings", zap.Stringer("gpid", p.gpid), zap.Error(m.err))
		p.storeFailed(m.err)
	} else {
		p.tuned = m.want
		p.tune()
	}
	p.closeIfIdle()
}

// verdict is the outcome of admission.
type verdict struct {
	err    proto.ErrCode // ErrOK = go on
	silent bool          // refused without a reply
	// after is how much later it takes effect: a refusal is sent, or the request is served, then.
	after time.Duration
}

// admitRead makes the checks of a read in the order of spec rrdb 6. A request that was delayed is not counted again.
func (p *partition) admitRead(req *proto.Request, delayed bool) verdict {
	if p.settings.Deny.Reads {
		return verdict{err: proto.ErrInvalidState, silent: p.settings.Deny.Silent}
	}
	if v := p.checkHash(req); v != proto.ErrOK {
		return verdict{err: v}
	}
	if !p.mayRead(req.Backup) {
		return verdict{err: proto.ErrInvalidState}
	}
	if p.throttles != nil {
		return p.throttles.read(p.shard.loop.Now(), p.shard.loop.WallMicros()/1e6, req, delayed)
	}
	return verdict{}
}

// admitWrite makes the checks of a write in the order of spec rrdb 6.
func (p *partition) admitWrite(req *proto.Request, delayed bool) verdict {
	if p.settings.Deny.Writes {
		return verdict{err: proto.ErrInvalidState, silent: p.settings.Deny.Silent}
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
	if p.throttles != nil && !delayed {
		return p.throttles.write(p.shard.loop.WallMicros()/1e6, req)
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
	if !p.settings.ValidateHash {
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
