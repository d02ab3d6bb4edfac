package shell

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pegasus/clientlib"
	"pegasus/clientlib/shell/report"
	"pegasus/netcore/proto"
)

// convertCommands turn keys and values into their stored form and back, without asking anybody but for the partition
// count of the table in use.
func (s *Shell) convertCommands() []*cobra.Command {
	var version int
	apart := s.command(groupOffline, "rdb_value_hex2str <value_in_hex>", "take a stored value apart", func(c *call, args []string) error {
		return c.valueHex(args[0], version)
	})
	apart.Flags().IntVar(&version, "data_version", 1, "layout of the values: 0, 1 or 2")
	index := s.command(groupData, "partition_index <hash_key>", "the partition of the table in use that a hash key falls into",
		func(c *call, args []string) error {
			return c.hash(args[0], "")
		})
	return []*cobra.Command{
		s.command(groupData, "hash <hash_key> <sort_key>", "the hash of a key, and the partition it falls into",
			func(c *call, args []string) error {
				return c.hash(args[0], args[1])
			}),
		index,
		s.command(groupOffline, "rdb_key_str2hex <hash_key> <sort_key>", "the stored form of a key", (*call).keyHex),
		s.command(groupOffline, "rdb_key_hex2str <rdb_key_in_hex>", "take a stored key apart", (*call).hexKey),
		apart,
	}
}

func (c *call) hash(words ...string) error {
	b, err := c.allBytes(words, 1, hashKey, sortKey)
	if err != nil {
		return err
	}
	raw, err := clientlib.RawKey(nil, b[0], b[1])
	if err != nil {
		return usageError{err}
	}
	// The hash of a key without a hash key is that of its sort key.
	h := proto.RawKeyHash(raw)
	var d report.Doc
	f := d.Fields("key").Set("key_hash", strconv.FormatUint(h, 10))
	if c.table == "" {
		return c.print(&d)
	}
	ctx, cancel := c.withTimeout()
	defer cancel()
	client, err := c.connect()
	if err != nil {
		return err
	}
	cfg, err := client.QueryConfig(ctx, c.table)
	if err != nil {
		return err
	}
	part := int(h % uint64(len(cfg.Partitions)))
	p := &cfg.Partitions[part]
	f.Set("app_name", c.table).Set("app_id", cfg.AppID).Set("partition_count", len(cfg.Partitions)).
		Set("partition_index", part).Set("primary", orNil(primaryOf(p))).Set("secondaries", joined(secondariesOf(p)))
	return c.print(&d)
}

func (c *call) keyHex(args []string) error {
	h, k, err := c.record(args)
	if err != nil {
		return err
	}
	raw, err := clientlib.RawKey(nil, h, k)
	if err != nil {
		return usageError{err}
	}
	text := strings.ToUpper(hex.EncodeToString(raw))
	return c.out.Object(`"`+text+`"`, "hex", text)
}

// unhexed reads hex digits, with or without 0x and quotes.
func unhexed(arg string) ([]byte, error) {
	b, err := hex.DecodeString(strings.TrimPrefix(strings.Trim(arg, `"'`), "0x"))
	if err != nil {
		return nil, usagef("%q: %v", arg, err)
	}
	return b, nil
}

func (c *call) hexKey(args []string) error {
	raw, err := unhexed(args[0])
	if err != nil {
		return err
	}
	if len(raw) < 2 || len(raw) < 2+int(binary.BigEndian.Uint16(raw)) {
		return usagef("%q is no key: two bytes with the length of the hash key, hash key, sort key", args[0])
	}
	end := 2 + int(binary.BigEndian.Uint16(raw))
	h, k := raw[2:end], raw[end:]
	return c.out.Object(fmt.Sprintf("hash_key: %s\nsort_key: %s", c.quoted(hashKey, h), c.quoted(sortKey, k)), "hash_key", c.shown(hashKey, h), "sort_key", c.shown(sortKey, k))
}

// valueHex takes a stored value apart (spec rrdb 5): u32 expiry; in layouts 1 and 2 a u64 of timestamp, cluster and
// deletion mark; in layout 2 a byte 0x82 in front.
func (c *call) valueHex(arg string, version int) error {
	raw, err := unhexed(arg)
	if err != nil {
		return err
	}
	header := map[int]int{0: 4, 1: 12, 2: 13}[version]
	if header == 0 {
		return usagef("data_version %d: want 0, 1 or 2", version)
	}
	if len(raw) < header || version == 2 && raw[0] != 0x82 {
		return usagef("%q is no value of layout %d: it has %d bytes", arg, version, len(raw))
	}
	user := raw[header:]
	if version == 2 {
		raw = raw[1:]
	}
	var d report.Doc
	f := d.Fields("value")
	if expire := binary.BigEndian.Uint32(raw); expire == 0 {
		f.Set("expires", nil)
	} else {
		f.Set("expires", time.Unix(int64(expire)+valueEpoch, 0))
	}
	if version > 0 {
		tag := binary.BigEndian.Uint64(raw[4:])
		f.Set("timestamp_us", int64(tag>>8)).Set("written", time.UnixMicro(int64(tag>>8))).
			Set("cluster_id", int(tag>>1&0x7f)).Set("deleted", tag&1 == 1)
	}
	f.Set("user_data", c.shown(value, user))
	return c.print(&d)
}

// valueEpoch is 2016-01-01 UTC in unix seconds, from which expiry is counted.
const valueEpoch = 1451606400
