/// The batch sizes that parametrised tests try: 1 is where peers deadlock.
let batchSizes = [1, 2, 3, 7]

/// The numbers of handler calls at once that parametrised tests try.
let slotCounts = [1, 2, 4]
