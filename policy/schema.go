package policy

import _ "embed" // for the schema

//go:embed schema.json
var documentSchema string

// Schema returns the JSON Schema (2020-12) of the document, for editors and publishers' checks. It
// describes what Validate accepts. What JSON Schema cannot say (a maximum below its beginning,
// target settings of a rule that is finer than a host) only Parse and Validate know.
func Schema() string { return documentSchema }
