import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "@prometheus-io/client";

/** Values one label may take before the rest is counted as `other`: no id can blow up the series by mistake. */
const LABEL_VALUES_MAX = 100;
const OVERFLOW_VALUE = "other";
const NAME_FORM = /^tradewind_[a-z][a-z0-9]*(_[a-z0-9]+)+$/;

/** From 0.5 ms to 30 s: covers a JetStream append as well as a saga with retries. */
export const SECONDS_BUCKETS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];
/** 64 B to 4 MiB. */
export const BYTES_BUCKETS: readonly number[] = [
  64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304,
];

/** Labels are given by name; every label of the metric must be there. */
export type Labels<L extends string> = Readonly<Record<L, string>>;
/** A metric without labels is called with the value alone. */
type LabelArgs<L extends string> = [L] extends [never] ? [] : [labels: Labels<L>];

export interface CounterMetric<L extends string = never> {
  /** Adds `amount` (default 1, never below zero). */
  inc(...args: [...LabelArgs<L>, amount?: number]): void;
}
export interface GaugeMetric<L extends string = never> {
  set(...args: [...LabelArgs<L>, value: number]): void;
  add(...args: [...LabelArgs<L>, amount: number]): void;
  /** Forgets one series, so that what is gone is not reported for ever. */
  remove(...args: LabelArgs<L>): void;
}
export interface HistogramMetric<L extends string = never> {
  observe(...args: [...LabelArgs<L>, value: number]): void;
}

export interface MetricOptions<L extends string> {
  /** `tradewind_<part>_<noun>_<unit>_{total|seconds|bytes}`; counters end in `_total`. */
  readonly name: string;
  readonly help: string;
  /** Only bounded sets: kind, method, code. Never a tenant or an id. */
  readonly labels?: readonly L[];
}
export interface HistogramOptions<L extends string> extends MetricOptions<L> {
  readonly buckets?: readonly number[];
}
export interface GaugeOptions<L extends string> extends MetricOptions<L> {
  /** Called at every scrape, to read a value that is cheap to read and dear to keep. */
  readonly collect?: (gauge: GaugeMetric<L>) => void;
}

/** One set of metrics. Making a metric again under its name returns the first one. */
export interface Metrics {
  readonly counter: <L extends string = never>(options: MetricOptions<L>) => CounterMetric<L>;
  readonly gauge: <L extends string = never>(options: GaugeOptions<L>) => GaugeMetric<L>;
  readonly histogram: <L extends string = never>(options: HistogramOptions<L>) => HistogramMetric<L>;
  /** Text of the Prometheus exposition format. */
  render(): Promise<string>;
  /** Names and label names, for the tests of dashboards and alerts. */
  names(): string[];
}

/** A registry of its own; tests use one each, processes use the functions below. */
export function createMetrics(registry: Registry = new Registry()): Metrics {
  const made = new Map<string, { kind: string; metric: unknown }>();
  const once = <M>(kind: string, { name }: { name: string }, make: () => M): M => {
    const known = made.get(name);
    if (known !== undefined && known.kind !== kind)
      throw new Error(`metric ${name} is a ${known.kind}, not a ${kind}`);
    if (known !== undefined) return known.metric as M;
    checkName(kind, name);
    const metric = make();
    made.set(name, { kind, metric });
    return metric;
  };
  const base = (options: MetricOptions<string>) => ({
    name: options.name,
    help: options.help,
    labelNames: [...(options.labels ?? [])],
    registers: [registry],
  });

  return {
    counter: <L extends string>(options: MetricOptions<L>) =>
      once("counter", options, () => {
        const metric = new Counter(base(options));
        const bound = boundLabels(options.labels);
        return {
          inc: (...args) => {
            const [labels, amount] = splitArgs<L>(args);
            metric.inc(bound(labels), amount ?? 1);
          },
        } satisfies CounterMetric<L>;
      }),
    gauge: <L extends string>(options: GaugeOptions<L>) =>
      once("gauge", options, () => makeGauge(base(options), options)),
    histogram: <L extends string>(options: HistogramOptions<L>) =>
      once("histogram", options, () => {
        const fallback = options.name.endsWith("_bytes") ? BYTES_BUCKETS : SECONDS_BUCKETS;
        const metric = new Histogram({ ...base(options), buckets: [...(options.buckets ?? fallback)] });
        const bound = boundLabels(options.labels);
        return {
          observe: (...args) => {
            const [labels, value = 0] = splitArgs<L>(args);
            metric.observe(bound(labels), value);
          },
        } satisfies HistogramMetric<L>;
      }),
    render: () => registry.metrics(),
    names: () => [...made.keys()],
  };
}

function makeGauge<L extends string>(
  base: GaugeBase,
  { collect, labels: names }: GaugeOptions<L>,
): GaugeMetric<L> {
  const bound = boundLabels(names);
  const gauge: GaugeMetric<L> = {
    set: (...args) => {
      const [labels, value = 0] = splitArgs<L>(args);
      metric.set(bound(labels), value);
    },
    add: (...args) => {
      const [labels, amount = 0] = splitArgs<L>(args);
      metric.inc(bound(labels), amount);
    },
    remove: (...args) => metric.remove(bound(splitArgs<L>(args)[0])),
  };
  const metric = new Gauge(collect === undefined ? base : { ...base, collect: () => collect(gauge) });
  return gauge;
}

type GaugeBase = { name: string; help: string; labelNames: string[]; registers: Registry[] };

function splitArgs<L extends string>(args: readonly unknown[]): [Labels<L> | undefined, number | undefined] {
  const [first, second] = args;
  if (typeof first === "number") return [undefined, first];
  return [first as Labels<L> | undefined, second as number | undefined];
}

function boundLabels<L extends string>(
  names: readonly L[] = [],
): (labels?: Labels<L>) => Record<string, string> {
  const seen = new Map<string, Set<string>>(names.map((name) => [name, new Set()]));
  return (labels) => {
    if (labels === undefined) return {};
    let bounded: Record<string, string> = labels;
    for (const name of names) {
      const values = seen.get(name);
      const value = labels[name];
      if (values === undefined || values.has(value)) continue;
      if (values.size < LABEL_VALUES_MAX) values.add(value);
      else bounded = { ...bounded, [name]: OVERFLOW_VALUE };
    }
    return bounded;
  };
}

function checkName(kind: string, name: string): void {
  const isCounter = kind === "counter";
  if (NAME_FORM.test(name) && name.endsWith("_total") === isCounter) return;
  const rule = isCounter ? "and end in _total" : "and not end in _total";
  throw new Error(`metric name ${name} must be tradewind_<part>_<noun>_<unit> ${rule}`);
}

const processRegistry = new Registry();
/** The metrics of this process. */
export const processMetrics: Metrics = createMetrics(processRegistry);

/** A count that only grows. */
export const counter: Metrics["counter"] = processMetrics.counter;
/** A value that goes up and down. */
export const gauge: Metrics["gauge"] = processMetrics.gauge;
/** A distribution, in seconds unless the name ends in `_bytes` or `buckets` are given. */
export const histogram: Metrics["histogram"] = processMetrics.histogram;

export const METRICS_CONTENT_TYPE: string = processRegistry.contentType;
let collectsProcess = false;

/** All metrics of this process in the text format, those of Node.js (CPU, memory, event loop, GC) with them. */
export function renderMetrics(): Promise<string> {
  if (!collectsProcess) {
    collectsProcess = true;
    collectDefaultMetrics({ register: processRegistry });
  }
  return processMetrics.render();
}
