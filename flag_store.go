package tether

import "github.com/tether-go/tether/flags"

// Flags returns the feature flags in force: those of the document, or of the application's own document
// where the document has neither the member flags nor flagSettings. They change in one step with the rest of
// the configuration, so its version is theirs. The store is the same for the life of the engine; its own
// Apply refuses every document, for the engine's is what applies them.
func (e *Engine) Flags() *flags.Store { return e.flags }
