// Package retry decides whether, when and how often a call is repeated, so that repeats help the
// caller and never keep a struggling server down.
//
//	budget, err := retry.NewBudget(0.1, retry.BudgetOptions{Initial: 1})
//	if err != nil {
//		return err
//	}
//	err = budget.Do(ctx, retry.Policy{}, func(ctx context.Context) error {
//		return fetch(ctx)
//	})
//
// Three limits hold at once: [Policy] bounds the attempts of one call and spreads them (jitter over
// an exponential ceiling, drawn below a true cap); [Budget] bounds the repeats of all calls to one
// server to a share of those that succeeded; the caller's deadline bounds them in time, and a wait
// towards a deadline that the next attempt can't meet is not begun.
//
// [Policy.Next] is the decision alone, for whoever has a loop of their own.
package retry
