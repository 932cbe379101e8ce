export type Tags = Record<string, string>;

/** Where an app tells what happens. Never waits, never throws, never keeps the process alive. */
export class King {
  /** @param path The stream socket; `KING_EVENTS_STREAM` when left out. Without one nothing is done. */
  constructor(path?: string);
  /** Whether anybody can hear. */
  readonly enabled: boolean;
  /** How many lines found no room so far. */
  readonly lost: number;
  /** Something happened: `name` is a label of a-z, 0-9 and '-', `fields` a JSON object of at most 4 KiB. */
  event(name: string, fields?: object): void;
  /** A gauge is now at this value. */
  gauge(name: string, value: number, tags?: Tags): void;
  /** A counter grows, by 1 when nothing else is said. */
  counter(name: string, add?: number, tags?: Tags): void;
  /** Waits until all that was told has been handed to the system, but no longer than this; whether it was. */
  flush(ms?: number): Promise<boolean>;
  /** Ends the connection. What is told from then on goes nowhere. */
  close(): void;
}

/** The one of this process, as the environment says. */
export const king: King;
