package shard

import (
	"strconv"
	"time"

	"pegasus/consensus"
	"pegasus/netcore/lane"
	"pegasus/netcore/loop"
	"pegasus/netcore/metric/export"
	"pegasus/netcore/proto"
)

// The metrics of a node under the names and in the units of Prometheus. Those that live as long as the process are handles,
// set once a second; those of tables, replicas and errors come and go and are made for every scrape.

// series are the handles.
type series struct {
	c      *collector
	shards []shardSeries
	lanes  []laneSeries

	blockCache, memtables export.Gauge
}

type shardSeries struct {
	shard *Shard
	busy  float64 // seconds, at the last update
	at    time.Time

	turns, messages, bytesIn, bytesOut, opened, forwarded, cold, mutations, peerDrops *export.Counter
	refused, slowReader, inboundLimit, idle                                           *export.Counter
	mailboxFull                                                                       *export.Counter
	busyRatio, sessions, mailboxDepth, unanswered                                     export.Gauge

	rowHits, rowMisses *export.Counter
	rowBytes           export.Gauge

	logRecords, logBytes, logFailures, logRefusals *export.Counter
	logSize, logPending, logSegments               export.Gauge
}

type laneSeries struct {
	lane             *lane.Lane
	done, full       *export.Counter
	waiting, running export.Gauge
}

func newSeries(c *collector) *series {
	n, e := c.node, c.export
	s := &series{c: c}
	e.Gauge("pegasus_build_info", "Version of the server, always 1.", "version", Version, "commit", Commit).Set(1)
	e.Gauge("pegasus_start_time_seconds", "When the server started, in seconds since 1970.").Set(float64(n.started.Unix()))
	s.blockCache = e.Gauge("pegasus_store_block_cache_bytes", "Bytes in the block cache that all stores share.")
	s.memtables = e.Gauge("pegasus_store_memtables_bytes", "Bytes in the memtables of all stores.")
	lanes := []*lane.Lane{n.background, n.learning, n.fetching, n.dialer}
	for _, sh := range n.shards {
		id := strconv.Itoa(int(sh.id))
		counter := func(name, help string) *export.Counter { return e.Counter(name, help, "shard", id) }
		gauge := func(name, help string) export.Gauge { return e.Gauge(name, help, "shard", id) }
		closed := func(reason string) *export.Counter {
			return e.Counter("pegasus_sessions_closed_by_server_total", "Sessions that the server closed on its own.", "shard", id, "reason", reason)
		}
		s.shards = append(s.shards, shardSeries{
			shard: sh, at: time.Now(),
			turns:        counter("pegasus_loop_turns_total", "Turns of the event loop in which anything happened."),
			messages:     counter("pegasus_loop_messages_total", "Mailbox messages delivered."),
			bytesIn:      counter("pegasus_network_receive_bytes_total", "Bytes received on sessions."),
			bytesOut:     counter("pegasus_network_transmit_bytes_total", "Bytes sent on sessions."),
			opened:       counter("pegasus_sessions_opened_total", "Sessions opened."),
			forwarded:    counter("pegasus_frames_forwarded_total", "Requests that arrived on another loop than that of their partition."),
			cold:         counter("pegasus_reads_cold_total", "Gets and range reads that had to touch storage."),
			rowHits:      counter("pegasus_row_cache_hits_total", "Gets that the row cache answered."),
			rowMisses:    counter("pegasus_row_cache_misses_total", "Gets that the row cache was asked for in vain."),
			rowBytes:     gauge("pegasus_row_cache_bytes", "Bytes of the row cache in use."),
			mutations:    counter("pegasus_mutations_proposed_total", "Mutations proposed by primaries."),
			peerDrops:    counter("pegasus_peer_frames_dropped_total", "Frames to other servers that could not be sent."),
			mailboxFull:  counter("pegasus_mailbox_refused_total", "Messages refused because the mailbox was full."),
			busyRatio:    gauge("pegasus_loop_busy_ratio", "Share of the last second that the event loop spent within turns."),
			unanswered:   gauge("pegasus_loop_unanswered_seconds", "Time that the event loop has not answered the collector, which asks once a second."),
			sessions:     gauge("pegasus_sessions", "Open sessions."),
			mailboxDepth: gauge("pegasus_mailbox_depth", "Messages that wait in the mailbox."),
			refused:      closed("too_many"), slowReader: closed("slow_reader"), inboundLimit: closed("inbound_limit"), idle: closed("idle"),
			logRecords:  counter("pegasus_log_records_total", "Records written to the shard log."),
			logBytes:    counter("pegasus_log_written_bytes_total", "Bytes written to the shard log."),
			logFailures: counter("pegasus_log_failures_total", "Writes of the shard log that failed."),
			logRefusals: counter("pegasus_log_refusals_total", "Mutations that the shard log had no room for."),
			logSize:     gauge("pegasus_log_size_bytes", "Size of the files of the shard log."),
			logPending:  gauge("pegasus_log_pending_bytes", "Bytes that wait for the next write of the shard log."),
			logSegments: gauge("pegasus_log_segments", "Segments of the shard log in use."),
		})
		lanes = append(lanes, sh.readLane, sh.long.lane, sh.logLane)
	}
	for _, l := range lanes {
		name := l.Stats().Name
		s.lanes = append(s.lanes, laneSeries{
			lane:    l,
			done:    e.Counter("pegasus_lane_jobs_total", "Jobs done in lanes for blocking work.", "lane", name),
			full:    e.Counter("pegasus_lane_refused_total", "Jobs refused because the lane was full.", "lane", name),
			waiting: e.Gauge("pegasus_lane_jobs_waiting", "Jobs that wait for a worker.", "lane", name),
			running: e.Gauge("pegasus_lane_jobs_running", "Jobs that run.", "lane", name),
		})
	}
	return s
}

// update sets the handles. It runs on the collector's goroutine, off the loops.
func (s *series) update() {
	shared := s.c.node.shared
	s.blockCache.Set(float64(shared.BlockCacheUsage()))
	s.memtables.Set(float64(shared.MemtableUsage()))
	for i := range s.lanes {
		l, st := &s.lanes[i], s.lanes[i].lane.Stats()
		l.done.Set(st.Done)
		l.full.Set(st.Full)
		l.waiting.Set(float64(st.Depth))
		l.running.Set(float64(st.Running))
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for i := range s.shards {
		s.shards[i].update(s.c.newest[i])
		s.shards[i].unanswered.Set(s.c.pulses[i].silence().Seconds())
	}
}

func (s *shardSeries) update(a *census) {
	st := s.shard.loop.Snapshot()
	s.updateLoop(&st)
	box := s.shard.loop.Mailbox()
	s.mailboxDepth.Set(float64(box.Depth))
	s.mailboxFull.Set(box.Full)
	if a == nil {
		return
	}
	s.forwarded.Set(a.stats.Forwarded)
	s.cold.Set(a.stats.ColdReads)
	s.rowHits.Set(a.stats.Rows.Hits)
	s.rowMisses.Set(a.stats.Rows.Misses)
	s.rowBytes.Set(float64(a.stats.Rows.Bytes))
	s.mutations.Set(a.stats.Mutations)
	s.peerDrops.Set(a.stats.PeerDrops)
	s.logRefusals.Set(a.stats.LogRefusals)
	s.logRecords.Set(a.log.Records)
	s.logBytes.Set(a.log.Bytes)
	s.logFailures.Set(a.log.Failures)
	s.logSize.Set(float64(a.log.SizeBytes))
	s.logPending.Set(float64(a.log.PendingBytes))
	s.logSegments.Set(float64(a.log.Segments))
}

func (s *shardSeries) updateLoop(st *loop.Stats) {
	busy, now := float64(st.BusyNanos)/1e9, time.Now()
	if since := now.Sub(s.at).Seconds(); since > 0 {
		s.busyRatio.Set(min((busy-s.busy)/since, 1))
	}
	s.busy, s.at = busy, now
	s.turns.Set(st.Turns)
	s.messages.Set(st.Messages)
	s.bytesIn.Set(st.BytesIn)
	s.bytesOut.Set(st.BytesOut)
	s.opened.Set(st.Opened)
	s.sessions.Set(float64(st.Sessions))
	s.refused.Set(st.Refused)
	s.slowReader.Set(st.SlowReader)
	s.inboundLimit.Set(st.InboundLimit)
	s.idle.Set(st.Idle)
}

// Powers of two that bound the buckets of histograms: 16 microseconds to 17 seconds, 1 to 65536 records, 64 bytes to 64 MiB.
const (
	firstNanos, lastNanos     = 14, 34
	firstRecords, lastRecords = 0, 16
	firstBytes, lastBytes     = 6, 26
)

// families makes the metrics that come and go: by table, or with each set by replica.
func (c *collector) families(f *export.Families, perReplica bool) {
	for _, r := range c.node.disks.all() {
		f.Gauge("pegasus_disk_capacity_bytes", "Size of the disk of a data directory.", float64(r.capacity.Load()), "disk", r.tag)
		f.Gauge("pegasus_disk_available_bytes", "Space that is left on the disk of a data directory.", float64(r.available.Load()), "disk", r.tag)
		f.Gauge("pegasus_disk_status", "0 is normal, 1 full, 2 failed.", float64(r.status()), "disk", r.tag)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.newest {
		if a != nil {
			a.families(f)
		}
	}
	roles := map[string]int{}
	for role := consensus.Inactive; role <= consensus.Learner; role++ {
		roles[roleName(replicaOpen, int32(role))] = 0
	}
	for _, s := range []lifecycle{replicaOpening, replicaClosing, replicaFailed, replicaInstalling} {
		roles[roleName(s, 0)] = 0
	}
	tables := map[string]*tableSum{}
	c.each(func(_ *census, r *replicaCensus) {
		roles[roleName(r.state, r.role)]++
		t := tables[label(r.table)]
		if t == nil {
			t = &tableSum{}
			tables[label(r.table)] = t
		}
		t.add(r, c.sizes[r.gpid], c.periods[r.gpid])
		if perReplica {
			c.replicaFamilies(f, r)
		}
	})
	for role, n := range roles {
		f.Gauge("pegasus_replicas", "Replicas on this server by role or state.", float64(n), "role", role)
	}
	for name, t := range tables {
		t.families(f, name)
	}
}

// roleName is what a replica is, in one word.
func roleName(s lifecycle, role int32) string {
	switch s {
	case replicaOpening:
		return "opening"
	case replicaClosing:
		return "closing"
	case replicaFailed:
		return "failed"
	case replicaInstalling:
		return "installing"
	}
	switch consensus.Role(role) {
	case consensus.Primary:
		return "primary"
	case consensus.Secondary:
		return "secondary"
	case consensus.Learner:
		return "learner"
	}
	return "inactive"
}

// families makes those of a shard that are no handles.
func (a *census) families(f *export.Families) {
	id := strconv.Itoa(int(a.shard.id))
	f.Counter("pegasus_loop_busy_seconds_total", "Time that the event loop spent within turns.", float64(a.shard.loop.Snapshot().BusyNanos)/1e9, "shard", id)
	f.Counter("pegasus_loop_batch_seconds_total", "Time in which the event loop, when woken, let what ran on its processor finish first.",
		float64(a.shard.loop.Snapshot().BatchNanos)/1e9, "shard", id)
	f.Counter("pegasus_log_writes_by_loop_total", "Writes of the shard log that its event loop did by itself, as no reads came and the disk was quick.",
		float64(a.stats.LoopLogWrites), "shard", id)
	f.Histogram("pegasus_log_write_duration_seconds", "Writes of the shard log, each with its sync.", &a.logMeter.took, 1e-9, firstNanos, lastNanos, "shard", id)
	f.Histogram("pegasus_log_write_batch_records", "Records per write of the shard log.", &a.logMeter.records, 1, firstRecords, lastRecords, "shard", id)
	f.Histogram("pegasus_log_write_batch_bytes", "Bytes per write of the shard log.", &a.logMeter.bytes, 1, firstBytes, lastBytes, "shard", id)
	for class, errs := range map[string]*[256]uint64{"read": &a.failures.reads, "write": &a.failures.writes} {
		for code, n := range errs {
			if n > 0 {
				f.Counter("pegasus_requests_failed_total", "Requests that were answered with an error, by its name.", float64(n),
					"shard", id, "class", class, "error", proto.ErrCode(code).String())
			}
		}
	}
}
