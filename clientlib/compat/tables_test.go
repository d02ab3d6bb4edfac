package compat

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/netcore/proto"
	"pegasus/netcore/proto/golden"
)

// tableTimeout bounds the making of one table.
const tableTimeout = 30 * time.Second

// makeTables creates the tables of the recordings and returns when they work and their environments have reached the
// replicas.
func makeTables(t *testing.T, w *world) {
	tables, err := golden.Tables()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), tableTimeout)
	defer cancel()
	for _, tb := range tables {
		id, err := w.client.CreateTable(ctx, clientlib.TableSpec{
			Name: tb.Name, Partitions: tb.PartitionCount, Replicas: tb.ReplicaCount, AtomicIdempotent: tb.AtomicIdempotent,
		})
		if err != nil {
			t.Fatalf("creating %s: %v", tb.Name, err)
		}
		w.created(tb.Name, id)
	}
	for _, tb := range tables {
		if err := w.client.WaitHealthy(ctx, tb.Name, int(tb.ReplicaCount)); err != nil {
			t.Fatal(err)
		}
		if len(tb.Envs) == 0 {
			continue
		}
		if err := w.client.UpdateAppEnvs(ctx, tb.Name, tb.Envs); err != nil {
			t.Fatalf("setting environments of %s: %v", tb.Name, err)
		}
		for key, value := range tb.Envs {
			if err := w.waitEnv(ctx, &tb, key, value); err != nil {
				t.Fatalf("%s of %s: %v", key, tb.Name, err)
			}
		}
	}
}

// makeNeighbours writes the records of neighbours, behind all keys of the recordings.
func makeNeighbours(t *testing.T, w *world) {
	for _, n := range neighbours {
		table, err := w.client.OpenTable(context.Background(), n.table)
		if err != nil {
			t.Fatal(err)
		}
		hashKey := hashKeyOf(n.partition, uint64(table.Partitions()))
		if err := table.Set(context.Background(), hashKey, nil, []byte("neighbour")); err != nil {
			t.Fatal(err)
		}
	}
}

// waitEnv returns when the environment shows in what every partition answers.
func (w *world) waitEnv(ctx context.Context, tb *golden.Table, key, value string) error {
	table, err := w.client.OpenTable(ctx, tb.Name)
	if err != nil {
		return err
	}
	for part := range uint64(tb.PartitionCount) {
		for {
			ok, err := w.shows(table, tb, part, key, value)
			if err != nil {
				return err
			}
			if ok {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("not in force on partition %d", part)
			}
		}
	}
	return nil
}

// shows looks whether an environment is in force on one partition.
func (w *world) shows(table *clientlib.Table, tb *golden.Table, part uint64, key, value string) (bool, error) {
	raw, err := clientlib.RawKey(nil, hashKeyOf(part, uint64(tb.PartitionCount)), nil)
	if err != nil {
		return false, err
	}
	const patience = 300 * time.Millisecond
	switch key + "=" + value {
	case "default_ttl=86400":
		put := proto.PutRequest{Key: raw, Value: []byte("probe")}
		if _, err := do(table, proto.CodePut, raw, put.AppendArgs(nil), patience); err != nil {
			return false, err
		}
		body, err := do(table, proto.CodeTTL, raw, proto.AppendBlobArg(nil, raw), patience)
		if err != nil {
			return false, err
		}
		var ttl proto.TTLResponse
		if err := ttl.DecodeResult(body); err != nil {
			return false, err
		}
		_, err = do(table, proto.CodeRemove, raw, proto.AppendBlobArg(nil, raw), patience)
		return ttl.Seconds > 0, err
	case "replica.deny_client_request=timeout*read":
		_, err := do(table, proto.CodeTTL, raw, proto.AppendBlobArg(nil, raw), patience)
		return errors.Is(err, clientlib.ErrTimeout), nil
	case "replica.deny_client_request=reconfig*all", "replica.deny_client_request=reconfig*write":
		_, err := do(table, proto.CodeRemove, raw, proto.AppendBlobArg(nil, raw), patience)
		return errors.Is(err, proto.ErrInvalidState), nil
	case "replica.split.validate_partition_hash=true":
		return w.refusesHash(tb, int32(part), raw)
	}
	return false, fmt.Errorf("do not know how to see %s=%s", key, value)
}

// refusesHash sends a read with the hash of another partition.
func (w *world) refusesHash(tb *golden.Table, part int32, raw []byte) (bool, error) {
	address, err := w.resolve(&golden.Step{Target: golden.TargetPrimary, Table: tb.Name, Partition: part})
	if err != nil {
		return false, err
	}
	id, err := w.AppID(tb.Name)
	if err != nil {
		return false, err
	}
	frame, mark := proto.AppendRequest(nil, proto.CodeTTL, proto.GPID{App: id, Part: part}, 1, 1000, uint64(part^1))
	frame = proto.FinishRequest(proto.AppendBlobArg(frame, raw), mark)
	resp, err := ask(address, "RPC_RRDB_RRDB_TTL", frame)
	return err == nil && at(resp, "err") == "ERR_PARENT_PARTITION_MISUSED", err
}

// hashKeyOf finds a hash key of a partition, longer than those of the recordings.
func hashKeyOf(part, count uint64) []byte {
	for i := 0; ; i++ {
		key := fmt.Appendf(nil, "a hash key that no recording has, for a partition of choice %d", i)
		if proto.KeyHash(key)%count == part {
			return key
		}
	}
}

// do runs one call with a timeout of its own.
func do(table *clientlib.Table, code proto.Code, raw, args []byte, patience time.Duration) ([]byte, error) {
	done := make(chan struct{})
	call := &clientlib.Call{
		Code: code, Hash: proto.RawKeyHash(raw), Args: args, Timeout: patience,
		OnDone: func(*clientlib.Call) { close(done) },
	}
	table.Do(call)
	<-done
	return call.Result, call.Err
}
