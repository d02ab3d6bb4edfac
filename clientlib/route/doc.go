// Package route decides where a client's requests go and what becomes of them: which server has a partition, when meta is
// asked and which meta, what an error means, when to try again, when to leave a server alone. It is pure: no clock, no
// goroutine, no socket. Package clientlib drives it in real time, the cluster simulator in virtual time, so that what is
// tested there is what runs here.
//
// # Duties of the driver
//
//   - Guard every Table, Metas and Circuit: one call at a time. A Map never changes and may be shared.
//   - Take the server of a request from Table.Map and remember the map's Version. Judge every attempt that ended; when the
//     Verdict says Suspect, call Table.Suspect with that version, then Table.Next.
//   - Carry the Question that Table.Next gives to the meta that Metas names, and report the end of it: Table.Answer or
//     Table.Fail. When Next says how long to wait, call it again then.
//   - Send a request again when its Verdict's Pause is over, or at once when Suspect was true and an answer of meta has
//     changed its partition since.
//   - Connect to a server only while its Circuit allows it, and hand it nothing while it is Doubtful and has not answered a
//     sign of life. Show each connection to a Silence. (The simulator has no connections and leaves both out, and Hedge.)
//   - Pass times as the distance from any fixed point of a monotonic clock.
//
// # Why there are no storms
//
// A table has one question under way, whoever wants to know. Failures of a partition whose entry is newer than the one that
// failed cause none. Questions keep a distance that doubles while answers bring nothing new, and every pause is spread at
// random by half of it up and down. Only the partitions in doubt are asked for, as long as they are few.
package route
