package shard

import (
	"pegasus/engine"
	"pegasus/engine/rowcache"
)

// Rows that were read lately are answered without the store. The loop that reads is the one that applies, so a row leaves the cache
// in the same step in which the store changes, and nothing else does: what a compaction drops as expired, expires in the cache as
// well, for a row carries its expiry. Compactions that change what is not expired (a default TTL, rules of the table) are why tables
// with those have no rows here, and one that had them has none until the last compaction that began under them is over, which
// flushSurvey has the store look at. The check of hashes drops only what the partition is not asked for while it is on; when it is
// taken away the same holds as for the others.

// rowsOf says which store's rows a partition has in the shard's cache. There are none while its settings keep them out, nor
// while the store is not steady.
type rowsOf struct {
	store  engine.Store // whose rows they are; nil: there are none
	tenant uint32       // under which they are
}

// cachesRows tells whether under its settings the table's records change by the hand of the loop only.
func (p *partition) cachesRows() bool {
	s := &p.settings
	return p.shard.rows != nil && s.DefaultTTL == 0 && s.Rules == nil && !s.NoBlockCache
}

// forgetRows ends what is cached if new settings want it so. It is called when the store, if there is one, has them.
func (p *partition) forgetRows() {
	if p.store == nil || !p.cachesRows() || !p.store.Steady(false) {
		p.rows = rowsOf{}
	}
}

// awaitsRows tells whether rows could be cached if only the store were steady.
func (p *partition) awaitsRows() bool {
	return p.state == replicaOpen && p.rows.store != p.store && p.cachesRows() && !p.store.Steady(false)
}

// lookUp fills in what the gets of this turn ask for, as far as it is in memory. Of t.stores it leaves those that it had to ask.
func (sh *Shard) lookUp() {
	t := &sh.gets
	if sh.rows == nil {
		t.batch.Gather(t.stores)
		return
	}
	missed := false
	for i, store := range t.stores {
		p := t.calls[i].p
		switch {
		case store == nil:
			continue
		case !p.cachesRows():
		case p.rows.store != store:
			p.rows = rowsOf{}
			if store.Steady(false) {
				p.rows = rowsOf{store: store, tenant: sh.rows.Tenant()}
			}
		default:
			if value, ok := sh.rows.Get(p.rows.tenant, t.batch.Key(i)); ok {
				t.batch.SetFound(i, value)
				t.stores[i] = nil
				continue
			}
		}
		missed = true
	}
	if !missed {
		return
	}
	t.batch.Gather(t.stores)
	for i, store := range t.stores {
		if store != nil && t.batch.Outcome(i) == engine.Found {
			if p := t.calls[i].p; p.rows.store == store {
				sh.rows.Put(p.rows.tenant, t.batch.Key(i), t.batch.Value(i))
			}
		}
	}
}

// dropRows forgets what batches, which are about to be applied, change.
func (p *partition) dropRows(batches [][]byte) {
	if p.rows.store == nil {
		return
	}
	for _, b := range batches {
		for r := engine.ReadBatch(b); r.Next(); {
			p.shard.rows.Drop(p.rows.tenant, r.Record().Key)
		}
	}
}

// newRowCache makes the cache of one of so many shards; nil when the node has none.
func newRowCache(total uint64, shards int) (*rowcache.Cache, error) {
	if total == 0 {
		return nil, nil
	}
	return rowcache.New(min(max(total/uint64(shards), rowcache.MinBytes), rowcache.MaxBytes))
}
