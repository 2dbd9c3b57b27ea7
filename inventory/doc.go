// Package inventory knows the machines: it merges what every source says into one [Machine] each, keeps them in a
// [Store] and picks them with a [Selector].
//
// Most callers need two calls: [Open] for the store, and [Store.Select] with a parsed selector. Sources hand in
// records with [Store.Import]. The package never guesses: records are joined by strong keys or by names that are
// unique on both sides, and everything else stays apart with its conflict written down. It knows nothing of keys,
// plans or transports.
package inventory
