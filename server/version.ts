/** Version of the coordinator software: that of the package. */
export const version = "0.1.0";
