// Ranks the entries of a race at any threshold, from the embedded curves, by the rules of the analysis: first passage or
// staying above, censored runs, Kaplan-Meier medians. Independent of the page.
const thresholds = (() => {
  const ROUNDING = 1e-9;

  // Height that a run has reached by each measurement; never decreases.
  function envelope(values, sign, rule) {
    const heights = values.map((value) => (value === null ? -Infinity : sign * value));
    if (rule === "first_passage") {
      for (let k = 1; k < heights.length; k++) heights[k] = Math.max(heights[k], heights[k - 1]);
    } else {
      for (let k = heights.length - 2; k >= 0; k--) heights[k] = Math.min(heights[k], heights[k + 1]);
    }
    return heights;
  }

  function prepare(race) {
    const sign = race.direction === "at_least" ? 1 : -1;
    const runs = race.runs.map(([entry, , ending, spent, budget, seconds, values]) => {
      return { entry, ending, spent, budget, seconds, heights: envelope(values, sign, race.rule) };
    });
    return { ...race, sign, groups: race.entries.map((_, entry) => runs.filter((run) => run.entry === entry)) };
  }

  function arrivals(runs, height) {
    const found = runs.map((run) => {
      const at = run.ending === "failed" ? -1 : run.heights.findIndex((each) => each >= height);
      const arrived = at >= 0;
      const seconds = arrived ? run.seconds[at] : run.ending === "open" ? run.spent : Infinity;
      return { arrived, seconds, budget: run.budget, isCut: !arrived && run.ending === "open" };
    });
    for (const each of found.filter((run) => run.isCut && run.budget !== null)) {
      for (const other of found) { // stopped by the same rule as this run, which must not leave the risk set earlier
        const overran = other.arrived && other.budget === each.budget && other.seconds > each.budget;
        if (overran) each.seconds = Math.max(each.seconds, other.seconds);
      }
    }
    return found.sort((a, b) => (a.seconds === b.seconds ? b.arrived - a.arrived : a.seconds < b.seconds ? -1 : 1));
  }

  // Middle of the stretch over which exactly half has arrived; infinite where no more than half arrives.
  function median(found) {
    let left = 1, first = Infinity;
    for (const [k, run] of found.entries()) {
      if (run.arrived) left *= 1 - 1 / (found.length - k);
      if (first === Infinity && left <= 0.5 + ROUNDING) first = run.seconds;
      if (left < 0.5 - ROUNDING) return (first + run.seconds) / 2;
    }
    return Infinity;
  }

  // Entries from the fastest to the slowest; ties share the lower place.
  function rank(race, threshold) {
    const rows = race.entries.map((name, entry) => {
      const found = arrivals(race.groups[entry], race.sign * threshold);
      return { name, seconds: median(found), reached: found.filter((run) => run.arrived).length, runs: found.length };
    });
    rows.sort((a, b) => (a.seconds === b.seconds ? 0 : a.seconds < b.seconds ? -1 : 1));
    for (const row of rows) row.place = 1 + rows.findIndex((other) => other.seconds === row.seconds);
    return rows;
  }

  return { prepare, rank };
})();
