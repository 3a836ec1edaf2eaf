"""The constants of one formula on one table: starts, the compiled machine, weights, pooling."""
