package retry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tether-go/tether/retry"
)

func Example() {
	budget, err := retry.NewBudget(0.1, retry.BudgetOptions{Initial: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	attempts := 0
	fetch := func(context.Context) error {
		if attempts++; attempts == 1 {
			return errors.New("connection reset")
		}
		return nil
	}
	quick := retry.Policy{InitialBackoff: time.Millisecond}
	err = budget.Do(context.Background(), quick, func(ctx context.Context) error {
		return fetch(ctx)
	})
	fmt.Println(attempts, err)
	// Output: 2 <nil>
}

func ExampleNewBudget() {
	budget, _ := retry.NewBudget(0.1, retry.BudgetOptions{Initial: 1})
	fmt.Println(budget.Take(), budget.Take())
	for range 11 {
		budget.Success()
	}
	fmt.Println(budget.Take(), budget.Take())
	// Output:
	// true false
	// true false
}
