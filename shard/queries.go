package shard

import (
	"sync/atomic"

	"pegasus/consensus"
	"pegasus/netcore/proto"
)

// The questions of the admin plane that no single shard can answer: every shard is asked on its own loop, and the shard that has the
// session replies when the last one has spoken. What concerns one replica goes to its shard, which replies itself.

// round asks every shard. Each writes into a place of its own, so nothing is locked.
type round struct {
	from    *Shard
	call    call
	waiting atomic.Int32
	each    func(sh *Shard)
	done    func(c *call)
}

// askAll has each called on every loop and then done on this one.
func (sh *Shard) askAll(c *call, each func(*Shard), done func(*call)) {
	r := &round{from: sh, call: *c, each: each, done: done}
	r.waiting.Store(int32(len(sh.node.shards)))
	for _, other := range sh.node.shards {
		other.deliverLater((*roundAsk)(r))
	}
}

type roundAsk round

func (r *roundAsk) deliver(sh *Shard) {
	r.each(sh)
	if r.waiting.Add(-1) == 0 {
		r.from.deliverLater((*roundOver)(r))
	}
}

type roundOver round

func (r *roundOver) deliver(*Shard) { r.done(&r.call) }

// onReplica has fn called on the loop of a replica's shard; p is nil when there is no such replica. fn replies.
type onReplica struct {
	gpid proto.GPID
	call call
	fn   func(sh *Shard, p *partition, c *call)
}

func (m *onReplica) deliver(sh *Shard) { m.fn(sh, sh.partitions[m.gpid], &m.call) }

// adminHandler serves an RPC that operators and Apache metas send to replica servers; nil: it is none. The handler replies, now or
// later; an error means that the arguments do not decode.
func adminHandler(code proto.Code) func(sh *Shard, c *call, args []byte) error {
	switch code {
	case proto.CodeQueryReplicaInfo:
		return (*Shard).queryReplicaInfo
	case proto.CodeQueryAppInfo:
		return (*Shard).queryAppInfo
	case proto.CodeQueryPNDecree:
		return (*Shard).queryDecree
	case proto.CodeQueryDiskInfo:
		return (*Shard).queryDiskInfo
	case proto.CodeDetectHotkey:
		return (*Shard).detectHotkey
	case proto.CodeAddNewDisk:
		return (*Shard).addNewDisk
	case proto.CodeReplicaDiskMigrate:
		return (*Shard).migrateDisk
	}
	return nil
}

// ofReplica tells of the RPCs of the admin plane that are about one replica: some clients name it in the header, too.
func ofReplica(code proto.Code) bool {
	return code == proto.CodeDetectHotkey || code == proto.CodeReplicaDiskMigrate || code == proto.CodeQueryPNDecree
}

// status is partition_status of the Apache protocol.
func (p *partition) status() proto.PartitionStatus {
	if p.state == replicaFailed {
		return proto.PSError
	}
	if p.replica == nil {
		return proto.PSInactive
	}
	switch p.replica.Role() {
	case consensus.Primary:
		return proto.PSPrimary
	case consensus.Secondary:
		return proto.PSSecondary
	case consensus.Learner:
		return proto.PSPotentialSecondary
	default:
		return proto.PSInactive
	}
}

func (p *partition) info() proto.ReplicaInfo {
	r, compact := p.report(), p.compactStatus()
	return proto.ReplicaInfo{
		PID: p.gpid, Ballot: r.Ballot, Status: p.status(), LastCommittedDecree: r.Committed, LastPreparedDecree: r.Prepared,
		LastDurableDecree: r.Durable, AppType: p.app.AppType, DiskTag: p.dir.tag, ManualCompactStatus: &compact,
	}
}

func (sh *Shard) queryReplicaInfo(c *call, args []byte) error {
	var req proto.QueryReplicaInfoRequest
	if err := proto.UnmarshalArgs(args, &req); err != nil {
		return err
	}
	parts := make([][]proto.ReplicaInfo, len(sh.node.shards))
	sh.askAll(c, func(other *Shard) {
		for _, p := range other.partitions {
			parts[other.id] = append(parts[other.id], p.info())
		}
	}, func(c *call) {
		var answer proto.QueryReplicaInfoResponse
		for _, list := range parts {
			answer.Replicas = append(answer.Replicas, list...)
		}
		sh.answer(c, &answer)
	})
	return nil
}

func (sh *Shard) queryAppInfo(c *call, args []byte) error {
	var req proto.QueryAppInfoRequest
	if err := proto.UnmarshalArgs(args, &req); err != nil {
		return err
	}
	parts := make([]map[int32]describedTable, len(sh.node.shards))
	sh.askAll(c, func(other *Shard) {
		for _, p := range other.partitions {
			if p.app.AppID != 0 {
				parts[other.id] = keepNewest(parts[other.id], describedTable{app: p.app, at: p.described})
			}
		}
	}, func(c *call) {
		sh.answer(c, &proto.QueryAppInfoResponse{Apps: newestTables(parts)})
	})
	return nil
}

// queryDecree answers how far a replica has committed.
func (sh *Shard) queryDecree(c *call, args []byte) error {
	var req proto.QueryReplicaDecreeRequest
	if err := proto.UnmarshalArgs(args, &req); err != nil {
		return err
	}
	sh.node.owner(req.PID).deliverLater(&onReplica{gpid: req.PID, call: *c, fn: func(sh *Shard, p *partition, c *call) {
		answer := proto.QueryReplicaDecreeResponse{Err: proto.ErrObjectNotFound}
		if p != nil {
			answer.Err = proto.ErrOK
			if p.replica != nil && p.status() != proto.PSPotentialSecondary {
				answer.LastDecree = p.replica.Committed()
			}
		}
		sh.answer(c, &answer)
	}})
	return nil
}

// diskHolding is what a shard has on the disk of a tag.
type diskHolding struct {
	primaries, secondaries map[int32]map[proto.GPID]struct{}
}

func addHeld(m *map[int32]map[proto.GPID]struct{}, g proto.GPID) {
	if *m == nil {
		*m = map[int32]map[proto.GPID]struct{}{}
	}
	if (*m)[g.App] == nil {
		(*m)[g.App] = map[proto.GPID]struct{}{}
	}
	(*m)[g.App][g] = struct{}{}
}

func (sh *Shard) queryDiskInfo(c *call, args []byte) error {
	var req proto.QueryDiskInfoRequest
	if err := proto.UnmarshalArgs(args, &req); err != nil {
		return err
	}
	parts := make([]map[string]*diskHolding, len(sh.node.shards))
	var known atomic.Bool
	known.Store(req.AppName == "")
	sh.askAll(c, func(other *Shard) {
		held := map[string]*diskHolding{}
		for g, p := range other.partitions {
			if req.AppName != "" && p.app.AppName != req.AppName {
				continue
			}
			known.Store(true)
			h := held[p.dir.tag]
			if h == nil {
				h = &diskHolding{}
				held[p.dir.tag] = h
			}
			switch p.status() {
			case proto.PSPrimary:
				addHeld(&h.primaries, g)
			case proto.PSSecondary:
				addHeld(&h.secondaries, g)
			}
		}
		parts[other.id] = held
	}, func(c *call) {
		if !known.Load() {
			sh.answer(c, &proto.QueryDiskInfoResponse{Err: proto.ErrObjectNotFound})
			return
		}
		sh.answer(c, sh.node.diskInfos(parts))
	})
	return nil
}

func (n *Node) diskInfos(parts []map[string]*diskHolding) *proto.QueryDiskInfoResponse {
	answer := &proto.QueryDiskInfoResponse{}
	for _, r := range n.disks.all() {
		info := proto.DiskInfo{
			Tag: r.tag, FullDir: r.path, DiskCapacityMB: r.capacity.Load() >> 20, DiskAvailableMB: r.available.Load() >> 20,
			HoldingPrimaryReplicas: map[int32]map[proto.GPID]struct{}{}, HoldingSecondaryReplicas: map[int32]map[proto.GPID]struct{}{},
		}
		for _, held := range parts {
			if h := held[r.tag]; h != nil {
				merge := func(into, from map[int32]map[proto.GPID]struct{}) {
					for _, set := range from {
						for g := range set {
							addHeld(&into, g)
						}
					}
				}
				merge(info.HoldingPrimaryReplicas, h.primaries)
				merge(info.HoldingSecondaryReplicas, h.secondaries)
			}
		}
		answer.TotalCapacityMB += info.DiskCapacityMB
		answer.TotalAvailableMB += info.DiskAvailableMB
		answer.DiskInfos = append(answer.DiskInfos, info)
	}
	return answer
}
