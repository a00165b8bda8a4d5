declare const brand: unique symbol;

/** A string that went through the one parser which may make it; the rest of the program cannot forge it from a raw string. */
export type Branded<Name extends string> = string & { readonly [brand]: Name };
